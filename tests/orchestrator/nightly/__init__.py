"""Tests of the nights: the parts that write pages and tell people."""

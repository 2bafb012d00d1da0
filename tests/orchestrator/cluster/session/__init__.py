"""Tests of the connection to Ray."""

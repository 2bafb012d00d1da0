"""Tests of MLflow's database."""

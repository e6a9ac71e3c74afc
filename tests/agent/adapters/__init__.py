"""Adapters for the tests of the training command."""

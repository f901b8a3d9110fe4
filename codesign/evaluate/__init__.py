"""Scores of integer models."""

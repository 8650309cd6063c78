"""The seed of all that is random in a measurement, so that every run asks for the same things in the same order."""

from __future__ import annotations

SEED = 20180919

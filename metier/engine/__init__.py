"""Runs a model over token trees and computes nothing twice. Never decides what an optimiser step is."""

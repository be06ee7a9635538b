"""Losses, class weights, optimisers and averages of weights."""

"""Losses, class weights, optimisers, schedules and averages of weights."""

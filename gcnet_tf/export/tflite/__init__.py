"""Export to TFLite: conversion, quantisation, checks of the graph, and metadata."""

"""Serve the explorer's pages: HTML that can be read without JavaScript."""

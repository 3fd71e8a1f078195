"""The pages of the explorer: plain HTML that works without JavaScript."""

"""The explorer's pages: plain HTML that works without JavaScript."""

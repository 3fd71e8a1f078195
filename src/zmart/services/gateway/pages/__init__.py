"""Pages for people: what the API says, rendered here, readable without JavaScript."""

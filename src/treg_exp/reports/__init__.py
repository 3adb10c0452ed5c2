"""Tables and pictures of a run, made from the files in its folder alone."""

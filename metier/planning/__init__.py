"""What can be known before a run. Takes a recipe; gives findings, a plan of memory and time; never trains."""

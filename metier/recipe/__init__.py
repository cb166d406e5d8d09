"""What the user asks for. Takes a YAML file; gives a frozen `Recipe`; never reads data or loads torch."""

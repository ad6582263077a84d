"""What the user asked for: the options, the YAML files and flags they come from, and the devices they run on."""

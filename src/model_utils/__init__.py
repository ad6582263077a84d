"""What surrounds a command: its configuration, the device and the group it runs on, ModelArts."""

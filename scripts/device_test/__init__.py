"""Every promise of the README's table of devices, tried on one device: `bash scripts/test_device.sh`."""

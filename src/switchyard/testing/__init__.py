"""What plugin authors test with: simulators of vendors' APIs and conformance kits."""

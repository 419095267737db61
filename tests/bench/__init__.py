"""The figures of the product, measured and printed beside their goals. A command, never timed tests."""

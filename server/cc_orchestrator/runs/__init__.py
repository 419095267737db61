"""The life of one run. Knows nothing of queues, nodes or tools."""

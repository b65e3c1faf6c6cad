"""From a plan to a result: workers, batches, the device."""

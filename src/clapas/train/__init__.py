"""The loop, optimizer, schedule, telemetry."""

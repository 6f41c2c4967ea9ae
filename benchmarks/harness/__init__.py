"""What works need to be measured: servers, a broker, clients, and comparisons."""

"""An app that records OpenTelemetry spans, each as a line of JSON in the file that SPANS names."""

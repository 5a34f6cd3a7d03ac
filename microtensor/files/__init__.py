"""Files: written whole, their tensors, their structure, and the objects that they may make."""

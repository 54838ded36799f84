"""From full-size pixels to the network's input, and back."""

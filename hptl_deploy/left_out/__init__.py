"""What of a micrograph is no micrograph: scale bars, info bands, given regions, missing tiles.

The network sees the frame as it is; afterwards these pixels become 255 in its class map, which
is in no denominator.
"""

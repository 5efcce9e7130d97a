"""Quality statistics: acceptance sampling, control charts, capability. Pure: numbers in, numbers out."""

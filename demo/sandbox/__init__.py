"""Two strict stand-ins for an ERP and a WMS, each its own process and storage. Nothing of the product is imported here."""

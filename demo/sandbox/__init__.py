"""Strict stand-ins for an ERP and a WMS, each its own process and storage; nothing of the product inside."""

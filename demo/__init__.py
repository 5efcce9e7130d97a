"""Sandbox ERP and WMS servers, measured data and the story told with them. The product never imports it."""

"""Serverless endpoints as code: a config file, and the request that it stands for."""

"""People, keys and limits in front of the models and jobs of a team, behind the OpenAI API.

It runs where the team's web application can reach it and outlives every pod. It imports nothing of
podkit.
"""

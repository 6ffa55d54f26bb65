"""Alembic's entry: uses the connection it is given, so that no URL with a password is written
anywhere.
"""

from alembic import context

from podkit_gateway.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()

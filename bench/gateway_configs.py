"""The configurations of what `bench/gateway.py` compares."""

from __future__ import annotations

from pathlib import Path


def nginx_config(folder: Path, port: int, stub: int, slow: int) -> str:
    return f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  keepalive_requests 1000000;
  upstream backend {{ server 127.0.0.1:{stub}; keepalive 64; }}
  upstream slow {{ server 127.0.0.1:{slow}; keepalive 64; }}
  map $http_x_kind $group {{ default backend; slow slow; }}
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://$group; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_buffering off; }} }}
}}
"""


def caddy_config(port: int, stub: int, slow: int) -> str:
    return f"""
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{port} {{
  @slow header X-Kind slow
  reverse_proxy @slow 127.0.0.1:{slow}
  reverse_proxy 127.0.0.1:{stub}
}}
"""


GATEWAY = """
[models.plain]
backends = ["fast"]
[models.streamed]
backends = ["fast"]
[models.slow]
backends = ["slow"]
[models.long]
backends = ["slow"]
[backends.fast]
url = "http://127.0.0.1:{stub}/v1"
[backends.slow]
url = "http://127.0.0.1:{slow}/v1"
"""


LITELLM = """
model_list:
  - model_name: plain
    litellm_params: {{model: openai/plain, api_base: "http://127.0.0.1:{stub}/v1", api_key: x}}
  - model_name: streamed
    litellm_params: {{model: openai/streamed, api_base: "http://127.0.0.1:{stub}/v1", api_key: x}}
  - model_name: slow
    litellm_params: {{model: openai/slow, api_base: "http://127.0.0.1:{slow}/v1", api_key: x}}
"""

# The service, with its Redis client, MCP and tracing. Build: docker build --tag crew-moe .
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY crew_moe ./crew_moe
COPY mcp_server ./mcp_server
COPY agents_config ./agents_config
COPY fixtures/documents ./fixtures/documents
RUN python -m venv /opt/crew-moe \
    && /opt/crew-moe/bin/pip install --no-cache-dir -c constraints.txt ".[service,mcp,redis,otel]"

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 router \
    && install --directory --owner router --mode 0700 /var/lib/crew-moe
COPY --from=build /opt/crew-moe /opt/crew-moe
ENV PATH=/opt/crew-moe/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CREW_MOE_LOG_FORMAT=json \
    CREW_MOE_SERVE_HOST=0.0.0.0
USER 10001
WORKDIR /home/router
EXPOSE 8005
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8005/health', timeout=2)"]
CMD ["crew-moe", "serve"]

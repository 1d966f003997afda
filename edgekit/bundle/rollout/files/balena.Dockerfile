# The release and what it runs with. The image is multi-architecture; balena builds it for the device.
FROM python:3.11-slim-bookworm
COPY release/requirements.txt /release/requirements.txt
RUN pip install --no-cache-dir -r /release/requirements.txt
COPY release /release
COPY start.sh /start.sh
ENV EDGEKIT_ROOT=@ROOT@ EDGEKIT_PYTHON=/usr/local/bin/python3
CMD ["sh", "/start.sh"]

# Redis with a user for each part. Their passwords are made at the first start and lie each in a volume of its own.
ARG REDIS=8.0.4
FROM docker.io/library/redis:${REDIS}
# Not /data: what a build changes in a volume of its base image is lost.
RUN mkdir -p /state /secrets/gateway /secrets/worker && chown -R 10001:10001 /state /secrets
COPY --chown=10001:10001 deploy/redis /etc/headrace
USER 10001:10001
ENTRYPOINT ["sh", "/etc/headrace/start.sh"]

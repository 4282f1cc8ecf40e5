package io.blockwharf.security;

import io.blockwharf.api.qmp.ObjectType;
import io.blockwharf.api.qmp.ObjectTypeName;
import io.blockwharf.api.qmp.QmpException;

import org.osgi.service.component.annotations.Component;

import java.nio.file.Path;
import java.util.Optional;

/**
 * The object type {@code tls-creds-psk}: keys that both ends share, from the file that GnuTLS's
 * psktool writes.
 */
@Component
@ObjectTypeName("tls-creds-psk")
public final class TlsCredsPsk implements ObjectType<TlsCredsPsk.Properties> {
    /** Who a client is if nothing else is said. */
    private static final String DEFAULT_USER = "qemu";

    /**
     * QAPI {@code TlsCredsPskProperties}.
     *
     * @param verifyPeer without effect, as in QEMU: who does not have a key gets nowhere
     * @param dir where {@code keys.psk} is; a server reads it again for each client
     * @param endpoint which end of a connection they are for (default client)
     * @param priority as of {@link TlsCredsX509.Properties}
     * @param username who a client is (default {@code qemu}); not for servers
     */
    public record Properties(
            Optional<Boolean> verifyPeer,
            Optional<String> dir,
            Optional<Endpoint> endpoint,
            Optional<String> priority,
            Optional<String> username) {}

    @Override
    public Object create(String id, Properties properties) {
        String dir =
                properties
                        .dir()
                        .orElseThrow(() -> QmpException.generic("Missing 'dir' property value"));
        PskFile keys = new PskFile(Path.of(dir, "keys.psk"));
        Endpoint endpoint = properties.endpoint().orElse(Endpoint.CLIENT);
        Priority priority = Priority.parse(properties.priority(), true);
        if (endpoint == Endpoint.CLIENT) {
            String user = properties.username().orElse(DEFAULT_USER);
            return PskCredentials.client(keys.required(user), priority);
        }
        if (properties.username().isPresent()) {
            throw QmpException.generic("username should not be set when endpoint=server");
        }
        keys.check();
        return PskCredentials.server(keys, priority);
    }

    @Override
    public Properties complete(Properties given) {
        return new Properties(
                given.verifyPeer().or(() -> Optional.of(true)),
                given.dir(),
                given.endpoint().or(() -> Optional.of(Endpoint.CLIENT)),
                given.priority(),
                given.username());
    }
}

package io.blockwharf.core.security;

import io.blockwharf.api.qmp.ObjectType;
import io.blockwharf.api.qmp.ObjectTypeName;
import io.blockwharf.api.qmp.QmpException;

import org.osgi.service.component.annotations.Component;

import java.util.Optional;

/**
 * The object type {@code tls-creds-x509}: certificates from a directory, as QEMU lays it out. Files
 * are read when the object is made.
 */
@Component
@ObjectTypeName("tls-creds-x509")
public final class TlsCredsX509 implements ObjectType<TlsCredsX509.Properties> {
    /** QAPI {@code QCryptoTLSCredsEndpoint}. */
    public enum Endpoint {
        /** Connects. */
        CLIENT,
        /** Is connected to. */
        SERVER
    }

    /**
     * QAPI {@code TlsCredsX509Properties}.
     *
     * @param verifyPeer whether a client needs a certificate of our CA (default true)
     * @param dir where {@code ca-cert.pem}, {@code ca-crl.pem}, {@code server-cert.pem} and {@code
     *     server-key.pem} are
     * @param endpoint which end of a connection they are for (default client)
     * @param priority protocol versions in the notation of GnuTLS: {@code NORMAL}, and {@code
     *     -VERS-…}, {@code +VERS-…} of TLS1.2 and TLS1.3
     * @param sanityCheck whether the certificates are checked when the object is made (default
     *     true)
     * @param passwordid id of the secret that the key is encrypted with
     */
    public record Properties(
            Optional<Boolean> verifyPeer,
            Optional<String> dir,
            Optional<Endpoint> endpoint,
            Optional<String> priority,
            Optional<Boolean> sanityCheck,
            Optional<String> passwordid) {}

    @Override
    public Object create(String id, Properties properties) {
        if (properties.passwordid().isPresent()) {
            throw QmpException.generic("No secret with id '%s'", properties.passwordid().get());
        }
        String dir =
                properties
                        .dir()
                        .orElseThrow(() -> QmpException.generic("Missing 'dir' property value"));
        return X509Credentials.load(
                dir,
                properties.endpoint().orElse(Endpoint.CLIENT) == Endpoint.SERVER,
                properties.verifyPeer().orElse(true),
                properties.sanityCheck().orElse(true),
                Priority.parse(properties.priority()));
    }
}

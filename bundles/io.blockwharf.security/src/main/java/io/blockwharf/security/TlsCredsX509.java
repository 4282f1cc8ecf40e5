package io.blockwharf.security;

import io.blockwharf.api.qmp.ObjectStore;
import io.blockwharf.api.qmp.ObjectType;
import io.blockwharf.api.qmp.ObjectTypeName;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.Secret;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.nio.file.Path;
import java.util.Optional;

/**
 * The object type {@code tls-creds-x509}: certificates from a directory, as QEMU lays it out. Files
 * are read when the object is made.
 */
@Component
@ObjectTypeName("tls-creds-x509")
public final class TlsCredsX509 implements ObjectType<TlsCredsX509.Properties> {
    /**
     * QAPI {@code TlsCredsX509Properties}.
     *
     * @param verifyPeer whether a client needs a certificate of our CA (default true)
     * @param dir where {@code ca-cert.pem}, {@code ca-crl.pem}, {@code server-cert.pem} and {@code
     *     server-key.pem} are
     * @param endpoint which end of a connection they are for (default client)
     * @param priority versions and ciphers in the notation of GnuTLS, for example {@code
     *     NORMAL:-VERS-TLS1.2}; what cannot be honoured is refused (default {@code NORMAL})
     * @param sanityCheck whether the certificates are checked when the object is made (default
     *     true)
     * @param passwordid id of the secret whose text the key is encrypted with; not needed any more
     *     once the object is made
     */
    public record Properties(
            Optional<Boolean> verifyPeer,
            Optional<String> dir,
            Optional<Endpoint> endpoint,
            Optional<String> priority,
            Optional<Boolean> sanityCheck,
            Optional<String> passwordid) {}

    private final ObjectStore objects;

    /** Finds passwords there. */
    @Activate
    public TlsCredsX509(@Reference ObjectStore objects) {
        this.objects = objects;
    }

    @Override
    public Object create(String id, Properties properties) {
        String dir =
                properties
                        .dir()
                        .orElseThrow(() -> QmpException.generic("Missing 'dir' property value"));
        return X509Credentials.load(
                Path.of(dir),
                properties.endpoint().orElse(Endpoint.CLIENT),
                properties.verifyPeer().orElse(true),
                properties.sanityCheck().orElse(true),
                Priority.parse(properties.priority(), false),
                properties.passwordid().map(password -> Secret.findText(objects, password)));
    }

    @Override
    public Properties complete(Properties given) {
        return new Properties(
                given.verifyPeer().or(() -> Optional.of(true)),
                given.dir(),
                given.endpoint().or(() -> Optional.of(Endpoint.CLIENT)),
                given.priority(),
                given.sanityCheck().or(() -> Optional.of(true)),
                given.passwordid());
    }
}

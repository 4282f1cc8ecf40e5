package io.blockwharf.security;

import io.blockwharf.api.qmp.ObjectType;
import io.blockwharf.api.qmp.ObjectTypeName;
import io.blockwharf.api.qmp.QmpException;

import org.osgi.service.component.annotations.Component;

import java.util.Optional;

/**
 * The object type {@code tls-creds-anon}: known, so that its user learns why there is none. TLS 1.3
 * has no anonymous key exchange, and the JDK has switched off that of TLS 1.2.
 */
@Component
@ObjectTypeName("tls-creds-anon")
public final class TlsCredsAnon implements ObjectType<TlsCredsAnon.Properties> {
    /**
     * QAPI {@code TlsCredsAnonProperties}; nothing of it has an effect.
     *
     * @param verifyPeer ignored
     * @param dir ignored
     * @param endpoint ignored
     * @param priority ignored
     */
    public record Properties(
            Optional<Boolean> verifyPeer,
            Optional<String> dir,
            Optional<Endpoint> endpoint,
            Optional<String> priority) {}

    @Override
    public Object create(String id, Properties properties) {
        throw QmpException.generic(
                "Anonymous TLS is not supported: TLS 1.3 does not have it, and anybody could be in"
                        + " between; use tls-creds-x509 or tls-creds-psk");
    }
}

package io.blockwharf.api.export;

import org.osgi.annotation.versioning.ConsumerType;

/**
 * Decides who is let in: what an {@code authz-*} object is to servers. May be called from any
 * thread.
 */
@ConsumerType
public interface Authorizer {
    /**
     * Whether a client is let in.
     *
     * @param identity who it has proved to be, for example the distinguished name of its
     *     certificate
     */
    boolean allows(String identity);
}

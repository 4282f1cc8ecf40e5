package io.blockwharf.nbd;

import io.blockwharf.api.qmp.ObjectType;
import io.blockwharf.api.qmp.ObjectTypeName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.Optional;

/**
 * Objects of type {@code nbd-server}: NBD servers beside QEMU's one, each with its own address, TLS
 * policy, limits and exports. An export names one by its option {@code server} and keeps it from
 * being deleted.
 */
@Component
@ObjectTypeName("nbd-server")
public final class NbdServerObject implements ObjectType<NbdServerOptions.Arguments> {
    /** A server as an object, which ends with it. */
    record Running(NbdServers servers, NbdServer server) implements AutoCloseable {
        @Override
        public void close() {
            servers.close(server);
        }
    }

    private final NbdServers servers;

    /** Makes servers among these. */
    @Activate
    public NbdServerObject(@Reference NbdServers servers) {
        this.servers = servers;
    }

    @Override
    public Object create(String id, NbdServerOptions.Arguments properties) {
        return new Running(servers, servers.open(Optional.of(id), properties));
    }
}

package io.blockwharf.qmp;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Component;

import java.util.List;
import java.util.Optional;
import java.util.Set;

/** {@code qmp_capabilities}: the session that sends it may send commands from then on. */
@Component
@QmpName("qmp_capabilities")
public final class NegotiateCapabilities
        implements QmpCommand<NegotiateCapabilities.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param enable what the client wants to use
     */
    public record Arguments(Optional<List<Capability>> enable) {}

    @Override
    public Nothing execute(Arguments arguments) {
        if (!Session.CURRENT.isBound()) {
            throw QmpException.generic("There is nothing to negotiate outside a QMP session");
        }
        Session.CURRENT.get().negotiated(Set.copyOf(arguments.enable().orElse(List.of())));
        return Nothing.NOTHING;
    }
}

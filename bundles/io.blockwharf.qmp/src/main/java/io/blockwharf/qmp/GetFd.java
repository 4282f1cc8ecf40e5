package io.blockwharf.qmp;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpName;
import io.blockwharf.api.trace.TraceEvent;
import io.blockwharf.linux.Descriptor;
import io.blockwharf.linux.LinuxException;

import org.osgi.service.component.annotations.Component;

/** {@code getfd}: names the descriptor that came with it. */
@Component
@QmpName("getfd")
public final class GetFd implements QmpCommand<GetFd.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param fdname the name, for this monitor
     */
    public record Arguments(String fdname) {}

    @Override
    public Nothing execute(Arguments arguments) {
        Descriptor descriptor = Session.claimDescriptor();
        int fd = descriptor.fd();
        try {
            Session.CURRENT.get().names().put(arguments.fdname(), descriptor);
            TraceEvent.MONITOR_FD_NAMED.record(arguments.fdname(), fd);
            return Nothing.NOTHING;
        } catch (LinuxException e) {
            throw new QmpException(e.getMessage(), e);
        }
    }
}

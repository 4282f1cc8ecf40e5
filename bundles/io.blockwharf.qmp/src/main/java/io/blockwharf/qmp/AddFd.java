package io.blockwharf.qmp;

import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpName;
import io.blockwharf.api.trace.TraceEvent;
import io.blockwharf.linux.Descriptor;
import io.blockwharf.linux.FdSets;
import io.blockwharf.linux.LinuxException;

import org.osgi.service.component.annotations.Component;

import java.util.Optional;

/** {@code add-fd}: puts the descriptor that came with it into a set. */
@Component
@QmpName("add-fd")
public final class AddFd implements QmpCommand<AddFd.Arguments, AddFd.Info> {
    /**
     * The arguments.
     *
     * @param fdsetId the set (default: a new one)
     * @param opaque anything, for {@code query-fdsets}
     */
    public record Arguments(Optional<Long> fdsetId, Optional<String> opaque) {}

    /**
     * QAPI {@code AddfdInfo}.
     *
     * @param fdsetId the set
     * @param fd the descriptor's number here
     */
    public record Info(long fdsetId, long fd) {}

    @Override
    public Info execute(Arguments arguments) {
        Descriptor descriptor = Session.claimDescriptor();
        int fd = descriptor.fd();
        try {
            long id = FdSets.ofProcess().add(arguments.fdsetId(), descriptor, arguments.opaque());
            TraceEvent.MONITOR_FD_ADDED.record(id, fd);
            return new Info(id, fd);
        } catch (LinuxException e) {
            throw new QmpException(e.getMessage(), e);
        }
    }
}

package io.blockwharf.qmp;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;
import io.blockwharf.linux.FdSets;

import org.osgi.service.component.annotations.Component;

import java.util.List;
import java.util.Optional;

/** {@code query-fdsets}. */
@Component
@QmpName("query-fdsets")
public final class QueryFdsets implements QmpCommand<Nothing, List<QueryFdsets.Info>> {
    /**
     * QAPI {@code FdsetFdInfo}.
     *
     * @param fd a descriptor's number here
     * @param opaque what {@code add-fd} was told
     */
    public record Member(long fd, Optional<String> opaque) {}

    /**
     * QAPI {@code FdsetInfo}.
     *
     * @param fdsetId the set
     * @param fds its descriptors
     */
    public record Info(long fdsetId, List<Member> fds) {}

    @Override
    public List<Info> execute(Nothing none) {
        return FdSets.ofProcess().list().stream()
                .map(
                        set ->
                                new Info(
                                        set.id(),
                                        set.members().stream()
                                                .map(
                                                        member ->
                                                                new Member(
                                                                        member.fd(),
                                                                        member.opaque()))
                                                .toList()))
                .toList();
    }
}

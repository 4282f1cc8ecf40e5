package io.blockwharf.block.filter;

import io.blockwharf.api.qmp.ObjectType;
import io.blockwharf.api.qmp.ObjectTypeName;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.block.filter.ThrottleGroup.Limits;
import io.blockwharf.block.filter.ThrottleGroup.Rate;

import org.osgi.service.component.annotations.Component;

import java.util.Optional;

/**
 * The object type {@code throttle-group}. Texts: QEMU's block/throttle-groups.c, util/throttle.c.
 */
@Component
@ObjectTypeName("throttle-group")
public final class ThrottleGroupType implements ObjectType<ThrottleGroupType.Properties> {
    private static final long LONGEST_BURST = 0xffff_ffffL;

    /**
     * QAPI {@code ThrottleLimits}: per second, of operations or bytes; 0 is no limit. {@code -max}
     * is what a burst may reach, for {@code -max-length} seconds. With {@code iops-size} a request
     * counts as one operation for each so many bytes.
     */
    public record ThrottleLimits(
            Optional<Long> iopsTotal,
            Optional<Long> iopsTotalMax,
            Optional<Long> iopsTotalMaxLength,
            Optional<Long> iopsRead,
            Optional<Long> iopsReadMax,
            Optional<Long> iopsReadMaxLength,
            Optional<Long> iopsWrite,
            Optional<Long> iopsWriteMax,
            Optional<Long> iopsWriteMaxLength,
            Optional<Long> bpsTotal,
            Optional<Long> bpsTotalMax,
            Optional<Long> bpsTotalMaxLength,
            Optional<Long> bpsRead,
            Optional<Long> bpsReadMax,
            Optional<Long> bpsReadMaxLength,
            Optional<Long> bpsWrite,
            Optional<Long> bpsWriteMax,
            Optional<Long> bpsWriteMaxLength,
            Optional<Long> iopsSize) {}

    /**
     * QAPI {@code ThrottleGroupProperties}: the limits in either form; the first form wins. The
     * second cannot be changed later.
     */
    public record Properties(
            Optional<ThrottleLimits> limits,
            Optional<Long> xIopsTotal,
            Optional<Long> xIopsTotalMax,
            Optional<Long> xIopsTotalMaxLength,
            Optional<Long> xIopsRead,
            Optional<Long> xIopsReadMax,
            Optional<Long> xIopsReadMaxLength,
            Optional<Long> xIopsWrite,
            Optional<Long> xIopsWriteMax,
            Optional<Long> xIopsWriteMaxLength,
            Optional<Long> xBpsTotal,
            Optional<Long> xBpsTotalMax,
            Optional<Long> xBpsTotalMaxLength,
            Optional<Long> xBpsRead,
            Optional<Long> xBpsReadMax,
            Optional<Long> xBpsReadMaxLength,
            Optional<Long> xBpsWrite,
            Optional<Long> xBpsWriteMax,
            Optional<Long> xBpsWriteMaxLength,
            Optional<Long> xIopsSize) {}

    @Override
    public Object create(String id, Properties properties) {
        return new ThrottleGroup(limits(complete(properties)));
    }

    @Override
    public void change(Object object, Properties properties) {
        ThrottleGroup group = (ThrottleGroup) object;
        Properties all = complete(properties);
        if (!old(properties).equals(old(complete(of(group.limits()))))) {
            throw QmpException.generic("Property cannot be set after initialization");
        }
        group.limits(limits(all));
    }

    /** Both forms of limits that are in force. */
    private static Properties of(Limits limits) {
        return new Properties(
                Optional.empty(),
                Optional.of(limits.operations().total().average()),
                Optional.of(limits.operations().total().burst()),
                Optional.of(limits.operations().total().burstSeconds()),
                Optional.of(limits.operations().read().average()),
                Optional.of(limits.operations().read().burst()),
                Optional.of(limits.operations().read().burstSeconds()),
                Optional.of(limits.operations().write().average()),
                Optional.of(limits.operations().write().burst()),
                Optional.of(limits.operations().write().burstSeconds()),
                Optional.of(limits.bytes().total().average()),
                Optional.of(limits.bytes().total().burst()),
                Optional.of(limits.bytes().total().burstSeconds()),
                Optional.of(limits.bytes().read().average()),
                Optional.of(limits.bytes().read().burst()),
                Optional.of(limits.bytes().read().burstSeconds()),
                Optional.of(limits.bytes().write().average()),
                Optional.of(limits.bytes().write().burst()),
                Optional.of(limits.bytes().write().burstSeconds()),
                Optional.of(limits.operationBytes()));
    }

    /** Without the first form. */
    private static Properties old(Properties all) {
        return new Properties(
                Optional.empty(),
                all.xIopsTotal,
                all.xIopsTotalMax,
                all.xIopsTotalMaxLength,
                all.xIopsRead,
                all.xIopsReadMax,
                all.xIopsReadMaxLength,
                all.xIopsWrite,
                all.xIopsWriteMax,
                all.xIopsWriteMaxLength,
                all.xBpsTotal,
                all.xBpsTotalMax,
                all.xBpsTotalMaxLength,
                all.xBpsRead,
                all.xBpsReadMax,
                all.xBpsReadMaxLength,
                all.xBpsWrite,
                all.xBpsWriteMax,
                all.xBpsWriteMaxLength,
                all.xIopsSize);
    }

    /** The first form over the second, and defaults; both forms are the same then. */
    @Override
    public Properties complete(Properties given) {
        Optional<ThrottleLimits> limits = given.limits;
        long iopsTotal =
                checked(
                        "iops-total",
                        given.xIopsTotal,
                        limits.flatMap(ThrottleLimits::iopsTotal),
                        0);
        long iopsTotalMax =
                checked(
                        "iops-total-max",
                        given.xIopsTotalMax,
                        limits.flatMap(ThrottleLimits::iopsTotalMax),
                        0);
        long iopsTotalMaxLength =
                checked(
                        "iops-total-max-length",
                        given.xIopsTotalMaxLength,
                        limits.flatMap(ThrottleLimits::iopsTotalMaxLength),
                        1);
        long iopsRead =
                checked("iops-read", given.xIopsRead, limits.flatMap(ThrottleLimits::iopsRead), 0);
        long iopsReadMax =
                checked(
                        "iops-read-max",
                        given.xIopsReadMax,
                        limits.flatMap(ThrottleLimits::iopsReadMax),
                        0);
        long iopsReadMaxLength =
                checked(
                        "iops-read-max-length",
                        given.xIopsReadMaxLength,
                        limits.flatMap(ThrottleLimits::iopsReadMaxLength),
                        1);
        long iopsWrite =
                checked(
                        "iops-write",
                        given.xIopsWrite,
                        limits.flatMap(ThrottleLimits::iopsWrite),
                        0);
        long iopsWriteMax =
                checked(
                        "iops-write-max",
                        given.xIopsWriteMax,
                        limits.flatMap(ThrottleLimits::iopsWriteMax),
                        0);
        long iopsWriteMaxLength =
                checked(
                        "iops-write-max-length",
                        given.xIopsWriteMaxLength,
                        limits.flatMap(ThrottleLimits::iopsWriteMaxLength),
                        1);
        long bpsTotal =
                checked("bps-total", given.xBpsTotal, limits.flatMap(ThrottleLimits::bpsTotal), 0);
        long bpsTotalMax =
                checked(
                        "bps-total-max",
                        given.xBpsTotalMax,
                        limits.flatMap(ThrottleLimits::bpsTotalMax),
                        0);
        long bpsTotalMaxLength =
                checked(
                        "bps-total-max-length",
                        given.xBpsTotalMaxLength,
                        limits.flatMap(ThrottleLimits::bpsTotalMaxLength),
                        1);
        long bpsRead =
                checked("bps-read", given.xBpsRead, limits.flatMap(ThrottleLimits::bpsRead), 0);
        long bpsReadMax =
                checked(
                        "bps-read-max",
                        given.xBpsReadMax,
                        limits.flatMap(ThrottleLimits::bpsReadMax),
                        0);
        long bpsReadMaxLength =
                checked(
                        "bps-read-max-length",
                        given.xBpsReadMaxLength,
                        limits.flatMap(ThrottleLimits::bpsReadMaxLength),
                        1);
        long bpsWrite =
                checked("bps-write", given.xBpsWrite, limits.flatMap(ThrottleLimits::bpsWrite), 0);
        long bpsWriteMax =
                checked(
                        "bps-write-max",
                        given.xBpsWriteMax,
                        limits.flatMap(ThrottleLimits::bpsWriteMax),
                        0);
        long bpsWriteMaxLength =
                checked(
                        "bps-write-max-length",
                        given.xBpsWriteMaxLength,
                        limits.flatMap(ThrottleLimits::bpsWriteMaxLength),
                        1);
        long iopsSize =
                checked("iops-size", given.xIopsSize, limits.flatMap(ThrottleLimits::iopsSize), 0);
        return new Properties(
                Optional.of(
                        new ThrottleLimits(
                                Optional.of(iopsTotal),
                                Optional.of(iopsTotalMax),
                                Optional.of(iopsTotalMaxLength),
                                Optional.of(iopsRead),
                                Optional.of(iopsReadMax),
                                Optional.of(iopsReadMaxLength),
                                Optional.of(iopsWrite),
                                Optional.of(iopsWriteMax),
                                Optional.of(iopsWriteMaxLength),
                                Optional.of(bpsTotal),
                                Optional.of(bpsTotalMax),
                                Optional.of(bpsTotalMaxLength),
                                Optional.of(bpsRead),
                                Optional.of(bpsReadMax),
                                Optional.of(bpsReadMaxLength),
                                Optional.of(bpsWrite),
                                Optional.of(bpsWriteMax),
                                Optional.of(bpsWriteMaxLength),
                                Optional.of(iopsSize))),
                Optional.of(iopsTotal),
                Optional.of(iopsTotalMax),
                Optional.of(iopsTotalMaxLength),
                Optional.of(iopsRead),
                Optional.of(iopsReadMax),
                Optional.of(iopsReadMaxLength),
                Optional.of(iopsWrite),
                Optional.of(iopsWriteMax),
                Optional.of(iopsWriteMaxLength),
                Optional.of(bpsTotal),
                Optional.of(bpsTotalMax),
                Optional.of(bpsTotalMaxLength),
                Optional.of(bpsRead),
                Optional.of(bpsReadMax),
                Optional.of(bpsReadMaxLength),
                Optional.of(bpsWrite),
                Optional.of(bpsWriteMax),
                Optional.of(bpsWriteMaxLength),
                Optional.of(iopsSize));
    }

    private static long checked(
            String name, Optional<Long> old, Optional<Long> given, long otherwise) {
        if (old.orElse(0L) < 0) {
            throw QmpException.generic("Property values cannot be negative");
        }
        long value = given.or(() -> old).orElse(otherwise);
        if (name.endsWith("-length") && (value < 0 || value > LONGEST_BURST)) {
            throw QmpException.generic(
                    "%s value must be in the range [0, %d]", name, LONGEST_BURST);
        }
        return value;
    }

    private static Limits limits(Properties all) {
        try {
            return made(all);
        } catch (IllegalArgumentException e) {
            throw new QmpException(e.getMessage(), e);
        }
    }

    private static Limits made(Properties all) {
        return new Limits(
                new ThrottleGroup.Rates(
                        new Rate(
                                all.xIopsTotal.get(),
                                all.xIopsTotalMax.get(),
                                all.xIopsTotalMaxLength.get()),
                        new Rate(
                                all.xIopsRead.get(),
                                all.xIopsReadMax.get(),
                                all.xIopsReadMaxLength.get()),
                        new Rate(
                                all.xIopsWrite.get(),
                                all.xIopsWriteMax.get(),
                                all.xIopsWriteMaxLength.get())),
                new ThrottleGroup.Rates(
                        new Rate(
                                all.xBpsTotal.get(),
                                all.xBpsTotalMax.get(),
                                all.xBpsTotalMaxLength.get()),
                        new Rate(
                                all.xBpsRead.get(),
                                all.xBpsReadMax.get(),
                                all.xBpsReadMaxLength.get()),
                        new Rate(
                                all.xBpsWrite.get(),
                                all.xBpsWriteMax.get(),
                                all.xBpsWriteMaxLength.get())),
                all.xIopsSize.get());
    }
}

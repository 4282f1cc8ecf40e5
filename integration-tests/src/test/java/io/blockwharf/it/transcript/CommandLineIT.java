package io.blockwharf.it.transcript;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;

/** Command lines that cannot be carried out end in the same words as qemu-storage-daemon's. */
class CommandLineIT {
    private static final List<String> LINES =
            List.of(
                    "extra",
                    "--bogus=3",
                    "-bogus",
                    "--exp",
                    "--daemonize=3",
                    "--e fuse",
                    "--export=nbd,id=e,node-name=nope",
                    "--export nbd,id",
                    "--export nbd,a.b=1,a=2",
                    "--export nbd,a.0=1,a.2=2",
                    "--export nbd,id=e,node-name=n,writable=xx",
                    "--export"
                        + " {\"type\":\"nbd\",\"id\":\"e\",\"node-name\":\"n\",\"writable\":\"on\"}",
                    "--export help",
                    "--blockdev null-co,node-name=n,size=1M",
                    "--blockdev null-co,node-name=n,file.x=1",
                    "--object iothread",
                    "--object bogus,id=x",
                    "--monitor nope",
                    "--monitor {\"chardev\":\"m\"}}",
                    "--chardev null,id=m --monitor m,mode=readline",
                    "--chardev null,id=m --monitor m --monitor m",
                    "--chardev stdio",
                    "--chardev bogus,id=m",
                    "--chardev id=m",
                    "--chardev null,id=a,foo=3",
                    "--chardev null,id=1x",
                    "--chardev null,id=a --chardev null,id=a",
                    "--chardev stdio,id=a --chardev stdio,id=b",
                    "--chardev socket,id=a",
                    "--chardev socket,id=a,fd=99",
                    "--chardev socket,id=a,host=localhost",
                    "--chardev socket,id=a,path=/nonexistent/s",
                    "--chardev socket,id=a,path=/nonexistent/s,server=on,wait=off",
                    "--chardev socket,id=a,path=x,server=maybe",
                    "--chardev file,id=a",
                    "--chardev ringbuf,id=a,size=3",
                    "-T",
                    "--trace",
                    "--trace foo=x",
                    "-x",
                    "--help=1",
                    "--version=1",
                    "--pidfile",
                    "--pidfile=/nonexistent/pid",
                    "--pidfile /nonexistent/pid",
                    "--pidfile .",
                    "--p",
                    "--blockdev",
                    "--blockdev help",
                    "--blockdev driver=help",
                    "--blockdev null-co,help",
                    "--blockdev driver=null-co,help",
                    "--blockdev null-co,node-name=n,help",
                    "--blockdev driver=?",
                    "--export nbd,help",
                    "--nbd-server help",
                    "--monitor help",
                    "--object qom-type=help",
                    "--object iothread,help",
                    "--object iothread,id=t,help",
                    "--object authz-simple,help",
                    "--object authz-list-file,help",
                    "--object iothread,id=1x",
                    "--object iothread,id=a --object iothread,id=a",
                    "--object iothread,id=a,poll-max-ns=x",
                    "--object iothread,id=a,poll-max-ns=-1",
                    "--object id=a",
                    "--object secret,id=s",
                    "--object secret,id=s,data=x,keyid=nope,iv=x",
                    "--object {\"qom-type\":\"iothread\"}",
                    "--object {\"id\":\"a\"}",
                    "--object {}",
                    "--object throttle-group,id=t,limits.iops-total=x",
                    "--object throttle-group,id=t,x-iops-total=-5",
                    "--object throttle-group,id=t,limits.iops-total=1,limits.iops-read=1",
                    "--object tls-creds-x509,id=t,dir=/nonexistent,endpoint=server",
                    "--object tls-creds-psk,id=t,dir=/nonexistent,endpoint=server",
                    "--object authz-list,id=a,rules.0.match=x",
                    "--object"
                        + " authz-list,id=a,rules.0.match=x,rules.0.policy=deny,rules.0.format=glob,rules.2.match=y",
                    "--object authz-simple,id=a",
                    "--nbd-server",
                    "--nbd-server addr.type=unix",
                    "--nbd-server addr.type=inet,addr.host=localhost",
                    "--nbd-server addr.type=bogus",
                    "--nbd-server addr.type=unix,addr.path=/nonexistent/s",
                    "--nbd-server addr.type=unix,addr.path=s,max-connections=x",
                    "--nbd-server addr.type=unix,addr.path=s,max-connections=-1",
                    "--nbd-server addr.type=unix,addr.path=s,max-connections=5000000000",
                    "--nbd-server addr.type=unix,addr.path=s,tls-creds=nope",
                    "--nbd-server addr.type=unix,addr.path=s,bogus=1",
                    "--nbd-server addr.type=unix,addr.path=s,addr.bogus=1",
                    "--nbd-server addr.type=unix,addr.path=s --nbd-server"
                            + " addr.type=unix,addr.path=s2",
                    "--nbd-server addr.type=fd,addr.str=99",
                    "--nbd-server addr.type=fd,addr.str=x",
                    "--nbd-server addr.type=fd,addr.str=0",
                    "--nbd-server addr.type=inet,addr.host=127.0.0.1,addr.port=nosuch",
                    "--nbd-server addr.type=inet,addr.host=127.0.0.1,addr.port=1,addr.to=70000",
                    "--nbd-server addr=x",
                    "--nbd-server {\"addr\":{\"type\":\"unix\"}}",
                    "--nbd-server {\"addr\":{\"type\":\"unix\",\"data\":{\"path\":\"s\"}}}",
                    "--export",
                    "--export nbd",
                    "--export nbd,id=e",
                    "--export id=e",
                    "--export nope,id=e,node-name=n",
                    "--export nbd,id=e,node-name=n",
                    "--blockdev null-co,node-name=n --export nbd,id=e,node-name=n",
                    "--blockdev null-co,node-name=n --export nbd,id=1e,node-name=n",
                    "--blockdev null-co,node-name=n --export nbd,id=e,node-name=n,bogus=1",
                    "--blockdev null-co,node-name=n --nbd-server addr.type=unix,addr.path=s"
                            + " --export nbd,id=e,node-name=n,bitmaps.0=b",
                    "--blockdev null-co,node-name=n --nbd-server addr.type=unix,addr.path=s"
                            + " --export nbd,id=e,node-name=n,bitmap=b",
                    "--blockdev null-co,node-name=n --nbd-server addr.type=unix,addr.path=s"
                            + " --export nbd,id=e,node-name=n --export nbd,id=e,node-name=n",
                    "--blockdev null-co,node-name=n --nbd-server addr.type=unix,addr.path=s"
                            + " --export nbd,id=e,node-name=n --export nbd,id=f,node-name=n",
                    "--blockdev null-co,node-name=n,read-only=on --nbd-server"
                        + " addr.type=unix,addr.path=s --export nbd,id=e,node-name=n,writable=on",
                    "--blockdev null-co,node-name=n --export vhost-user-blk,id=e,node-name=n",
                    "--blockdev null-co,node-name=n --export"
                            + " vhost-user-blk,id=e,node-name=n,addr.type=unix",
                    "--blockdev null-co,node-name=n --export"
                        + " vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path=/nonexistent/s",
                    "--blockdev null-co,node-name=n --export"
                        + " vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path=v,num-queues=0",
                    "--blockdev null-co,node-name=n --export"
                        + " vhost-user-blk,id=e,node-name=n,addr.type=inet,addr.host=h,addr.port=1",
                    "--blockdev null-co,node-name=n --export"
                            + " vhost-user-blk,id=e,node-name=n,addr.type=fd,addr.str=99",
                    "--blockdev null-co",
                    "--blockdev node-name=n",
                    "--blockdev nope,node-name=n",
                    "--blockdev null-co,node-name=1",
                    "--blockdev null-co,node-name=n --blockdev null-co,node-name=n",
                    "--blockdev null-co,node-name=n,read-only=maybe",
                    "--blockdev null-co,node-name=n,read-only",
                    "--blockdev null-co,node-name=n,cache.direct=x",
                    "--blockdev null-co,node-name=n,discard=maybe",
                    "--blockdev null-co,node-name=n,detect-zeroes=unmap",
                    "--blockdev null-co,node-name=n,a..b=1",
                    "--blockdev null-co,node-name=n,=1",
                    "--blockdev null-co,,node-name=n",
                    "--blockdev =",
                    "--blockdev file,node-name=n",
                    "--blockdev file,node-name=n,filename=/nonexistent/f",
                    "--blockdev file,node-name=n,filename=/",
                    "--blockdev file,node-name=n,filename=/tmp,read-only=on",
                    "--blockdev raw,node-name=n",
                    "--blockdev raw,node-name=n,file=nope",
                    "--blockdev raw,node-name=n,file.driver=file",
                    "--blockdev raw,node-name=n,file.driver=file,file.filename=/nonexistent/f",
                    "--blockdev raw,node-name=n,file.driver=null-co,offset=x",
                    "--blockdev raw,node-name=n,file.driver=null-co,file.size=512,offset=1024",
                    "--blockdev"
                        + " qcow2,node-name=n,file.driver=null-co,file.size=65536,file.read-zeroes=on",
                    "--blockdev qcow2,node-name=n,file=nope",
                    "--blockdev throttle,node-name=n,file.driver=null-co",
                    "--blockdev throttle,node-name=n,throttle-group=g,file.driver=null-co",
                    "--blockdev {\"driver\":\"null-co\",\"node-name\":\"n\",\"size\":\"5\"}",
                    "--blockdev {\"driver\":\"null-co\",\"node-name\":\"n\",\"read-only\":\"on\"}",
                    "--blockdev {\"driver\":null}",
                    "--monitor",
                    "--monitor id=x",
                    "--monitor m,mode=bogus",
                    "--monitor m,pretty=maybe",
                    "--monitor m,bogus=1",
                    "--chardev",
                    "--chardev null",
                    "--chardev null,id=m --monitor m,pretty",
                    "--chardev null,id=m --monitor m,pretty=on,mode=control --chardev null,id=m",
                    "--chardev file,id=a,path=/nonexistent/o",
                    "--chardev pipe,id=a",
                    "--chardev pipe,id=a,path=/nonexistent/p",
                    "--chardev socket,id=a,path=s,fd=3",
                    "--chardev socket,id=a,host=h,port=nosuch",
                    "--chardev socket,id=a,path=s,reconnect=x",
                    "--chardev socket,id=a,path=s,server=on,reconnect=3",
                    "--chardev socket,id=a,path=s,wait=on",
                    "--chardev socket,id=a,fd=0",
                    "--chardev stdio,id=a,signal=maybe",
                    "--chardev ringbuf,id=a,size=x",
                    "--chardev null,id=a,bogus",
                    "--chardev null,id=a,nobogus",
                    "--daemonize --blockdev nope,node-name=n",
                    "--daemonize --bogus",
                    "--daemonize --chardev stdio,id=m --monitor m",
                    "--daemonize --pidfile /nonexistent/p",
                    "- x");

    @TempDir Path directory;

    /** How both have ended. */
    private record Both(Program.Ended theirs, Program.Ended ours) {}

    /** Each line is a test; as many at a time as there are processors are carried out. */
    @TestFactory
    Stream<DynamicTest> failures() {
        ExecutorService runners =
                Executors.newFixedThreadPool(Runtime.getRuntime().availableProcessors());
        return LINES.stream()
                .map(line -> new Running(line, runners.submit(() -> run(line))))
                .toList()
                .stream()
                .map(Running::test)
                .onClose(runners::shutdownNow);
    }

    private record Running(String line, Future<Both> result) {
        DynamicTest test() {
            return DynamicTest.dynamicTest(
                    line, () -> assertEquals(result.get().theirs(), result.get().ours(), line));
        }
    }

    /** In folders of their own: some lines make a socket before they fail. */
    private Both run(String line) throws IOException, InterruptedException {
        List<String> arguments = List.of(line.split(" "));
        Path folder = Files.createTempDirectory(directory, "line");
        return new Both(
                Program.THEIRS.run(Files.createDirectory(folder.resolve("theirs")), arguments),
                Program.OURS.run(Files.createDirectory(folder.resolve("ours")), arguments));
    }
}

PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO _sqlx_migrations VALUES(1,'subscriptions','2026-11-29 09:40:15',1,X'65302f8f5c2ed858fd467cead5f6fe47278c92cb79a047ebc08ff302b3a6168c8252d3ae89f69e3c7ca617bd2682695d',1134543);
INSERT INTO _sqlx_migrations VALUES(2,'circuits','2026-11-29 09:40:15',1,X'5f0cec5f7e81f4d4fa32c298066ee66e923b2734260127d3d13746cdd39bceaff708abd6df30905f9704e4ec0e0d6d13',3888763);
INSERT INTO _sqlx_migrations VALUES(3,'secrets','2026-11-29 09:40:15',1,X'cb449a9bc123851bf68958497367dbe2ceb20d57b46e87e288c13d94d794213210a1ec1aeb8136818b4e82012f328737',293178);
INSERT INTO _sqlx_migrations VALUES(4,'attempts','2026-11-29 09:40:15',1,X'00a2a02c1fcd1a2b7792bc4c3f4e57dd3db022ea9f6d509aef72a7c025e0772ae8a652fa2bbef9f324f6c41a262b93eb',566806);
INSERT INTO _sqlx_migrations VALUES(5,'sources','2026-11-29 09:40:15',1,X'24ea177881b46226daaa9f958d532d38243ff37d7c181353a68c4b9ae8f08d12289e644536d48606b777e29fe3f3ccfd',292727);
INSERT INTO _sqlx_migrations VALUES(6,'activity','2026-11-29 09:40:15',1,X'5258d7db5ef22717ee807e0f70cb67477c1696c5afe3d9bf48b8aee854cd848b1e2d62dc583131a1922d6d5bf8352256',383272);
INSERT INTO _sqlx_migrations VALUES(7,'workfront','2026-11-29 09:40:15',1,X'945eca98f5c6d8d38d6515c63246ce386c993dd7a4a0684c0130b2e9e09aded08737b895dc99e4b201ea6563e722eb28',630370);
INSERT INTO _sqlx_migrations VALUES(8,'publications','2026-11-29 09:40:15',1,X'f84d4a18bbdd54866e0b09a7b11b778f39ca5eba7f8426f0837a488d0965501d2aae77af593e909f6813a7d19a7de110',219177);
INSERT INTO _sqlx_migrations VALUES(9,'requests','2026-11-29 09:40:15',1,X'2a935dea9e57253258e02460863cf5ca12386c77b3c65fa75b5227c3caf35e682c775f354743e1dd03aa86b94fff4b94',502990);
CREATE TABLE subscriptions (
    -- A UUID in lower case, so that ids sort by creation and every row can be named.
    id TEXT NOT NULL PRIMARY KEY CHECK (
        id LIKE '________-____-____-____-____________'
        AND length(replace(id, '-', '')) = 32
        AND id NOT GLOB '*[^-0-9a-f]*'
    ),
    -- SHA-256 in base64 of what must be unique: same events to the same URL.
    fingerprint TEXT NOT NULL UNIQUE,
    url TEXT NOT NULL,
    topics TEXT NOT NULL,
    filters TEXT NOT NULL,
    filter_connector TEXT NOT NULL,
    auth_token TEXT,
    secrets TEXT NOT NULL,
    headers TEXT NOT NULL,
    schedule TEXT,
    -- Requests per second.
    rate_limit INTEGER CHECK (rate_limit > 0),
    description TEXT,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
, workfront TEXT) STRICT;
INSERT INTO subscriptions VALUES('01a226ad-3626-74e0-8ac2-8b1c75bf576d','lTK+hX/HLGCmChnRr+QBES49lyyc8QGyWnCvCJYIZA4=','http://127.0.0.1:18965/ok','["order.#"]','[]','AND','v1.4dbdc3614582c4ca.OROkowxxEi8WeBbkINLDwDmY0a5jzPbp2CDNHx9UXgKOzhsSyv826uhjSTjsVCRuqkydzg','v1.4dbdc3614582c4ca.Ed1aV40M+JX7E+E+nB/32TO0WF6GfyKTOuptKk+gSLgid/0jDPaE6WUbW208y0CkIK6qy8ZtELUPX8ow2vj58sSBTtI4yUhY8TY3ef6E/ZRaPRlf4Yx6fb5DgJDjRw','v1.4dbdc3614582c4ca.iCQhUtZubBYf0C22BaV0mP4mBICiYX+g3tFK2OvvBSViQl3SgRfncZbYfg4fU7V2EzLZC8z0RY7Y3Ch+',NULL,NULL,'all orders',1795945215526,1795945215526,NULL);
INSERT INTO subscriptions VALUES('01a226ad-362c-7782-aea5-7d7685580548','u1OQas8hwlKllCX+VltHa8YHqnHM7lUVS/zKEz5XOkw=','http://127.0.0.1:18965/fail','["order.paid"]','[]','AND',NULL,'v1.4dbdc3614582c4ca.APLqcWiuS170iLkzjjjJsGZRda9BQya+vR/lLFr7LuLF0jVplqUIRiQtUjS5+4RFwZmJPyLLrDyflgOr12J9YZGUvhGAsKO807SMzQMHZT5dwo7tMoGCarBGMCDbRg','v1.4dbdc3614582c4ca.SBre6QJJFTXeau1yQ96s9Py/2sC5tuVjSjAAnvSu82AwfI2kNR6fgZE7',NULL,NULL,NULL,1795945215532,1795945215532,NULL);
INSERT INTO subscriptions VALUES('01a226ad-3633-732a-a940-398f8610acac','rAHt+GVSRNgvFxQAAFV4kBML033RxPxId9A6k8RE5QQ=','http://127.0.0.1:18965/filter','["order.#"]','[{"comparison":"eq","fieldName":"status","fieldValue":"CUR","state":"newState"},{"comparison":"eq","fieldName":"n","fieldValue":"1","state":"newState"}]','OR',NULL,'v1.4dbdc3614582c4ca.VIW2aMoaSIWDmKZC1zYgwlynoB4GWToBGAGr8aFF3aR0TgOBIspn3q9oIc5uFgFNE+g+oVNZUhFIRpFB+psDMSQYx7Cp4as7NfhffYCzU+mhOQtsSii1r37zdKWKFA','v1.4dbdc3614582c4ca.6QDEe2g2VCwlHmJhNNBOEznzPUUJovd2C5jzSrV/3qUPZ4cnNg0f8Bs7',NULL,NULL,NULL,1795945215539,1795945215539,NULL);
INSERT INTO subscriptions VALUES('01a226ad-3637-70c4-9d03-99c7c813b24a','VBsluECyzBs1CApkef1xFtTrXJmcT8Wa874tG1TLzdo=','http://127.0.0.1:18965/never','["never.x"]','[]','AND',NULL,'v1.4dbdc3614582c4ca.8erqkXi686JWFU2gEkioNtUMlTVGOxRG8ACMWQGf8R9HBUgSHcaau7ZWwPf5piABlWiWaqLJZlVrFBr8m33VJldwIBbB9CzeuGqxsvRo6bdE15dwdDf5jCjEXrsnOg','v1.4dbdc3614582c4ca.MEMNOxaqbG1WoUc+c4ARfg1aVsI+/R5G6uVbF0N0qou0Nq2LvQh+vxp+','short',NULL,NULL,1795945215543,1795945215543,NULL);
INSERT INTO subscriptions VALUES('01a226ad-363e-762b-9402-68817931d98b','0t2D7Hh1gdS+w4gz5h86beIN40pHNNAr5iRTNA9Iky8=','http://127.0.0.1:18965/gone','["gone.x"]','[]','AND',NULL,'v1.4dbdc3614582c4ca.Vt7UJdXSDj6/oI0jH/KLmENSJWB01zkCeW4u7mFaA/7zRBvOSXDB3xJdFF0IwzAc+rSIBatcu8bqlVqT2ju5jNMeNXeTu/lDaV2WYCjIjIMsC59RIS93uemxLVOa3A','v1.4dbdc3614582c4ca.RhawdUSVDjFQQNxdm/EzjCqjh5hPASUHCnjboX7OBs+K9p01p1iZD7XS',NULL,NULL,NULL,1795945215550,1795945215550,NULL);
INSERT INTO subscriptions VALUES('01a226ad-3641-73ee-8952-2a333dd1f546','4C4eiLiOrtHBxev1glxu+HIVzh98zrVS46AQ8hJSBDw=','http://127.0.0.1:18965/down','["down.x"]','[]','AND',NULL,'v1.4dbdc3614582c4ca.lYM4QkxnlrMsxLlE7k9JpK+JtOIgBBPRyVNqW4SEdNnAD5zCH2le253/OIU/x0v6XPdGZfqT3APyGW+G5tlGU9JsgMeCR/H0ODAHeBiVVT00jaPlNvM42y9+Z/6ooQ','v1.4dbdc3614582c4ca.yqn/Liz+8EMO4LCHhv6HkBdwEkD805vDyIQ+LGuoI857gD5EIQOq6SwV',NULL,NULL,NULL,1795945215553,1795945215553,NULL);
INSERT INTO subscriptions VALUES('01a226ad-3644-712b-9989-1c7f1c1132eb','bp30XRictOfrjlTNwQRTeGVirss5LeebzdGibpdzmiI=','http://127.0.0.1:18965/off','["off.x"]','[]','AND',NULL,'v1.4dbdc3614582c4ca.j3A6uAsuAk3lKuEA/o2aFc8KT3WCePU0MDZ+7AuYYq3PbqX6LkTjIGGEIgk4Gf+gDtrZhilA1E7N5fn1D8Msk/j7A98oNt2peG/nEUr0o/pDP+N0JAlGLjmWewn96w','v1.4dbdc3614582c4ca.mCozrQU+zf/c369Kzrz9v1VgTUn3j3HMUm9jcFnaQ3nbja24NOy7LrlY',NULL,NULL,NULL,1795945215556,1795945215556,NULL);
INSERT INTO subscriptions VALUES('01a226ad-3648-70d0-9d51-1d50f9974910','Z1ijCdu+1Jc7dqa1YCXUIqr2itLEpltb0fuzal4JtmA=','http://127.0.0.1:18965/limited','["lim.x"]','[]','AND',NULL,'v1.4dbdc3614582c4ca.wvU1309J6wObEU+6hWPTZoSzcmR98ddxdiebkimZyXE6WgeF0+YhuztEbBUIVbzzey5+uaoDOzh2FbwP8baXFrpirdjOR+0DHAH+bOHzuI53oO+0j3a0G/ppqWX0NA','v1.4dbdc3614582c4ca.EXzAsU5myRaruUaSLRp8r2G+GGEp0HSYNN/U1kcx4DxEVZa8gbHHoVPE',NULL,1,NULL,1795945215560,1795945215560,NULL);
INSERT INTO subscriptions VALUES('01a226ad-364c-715d-8908-7fa7422325b1','vagZaJYvsb7iHZomgbjdlQnI1XA7ZQgKEH0w+HxtCuU=','http://127.0.0.1:18965/twice','["twice.x"]','[]','AND',NULL,'v1.4dbdc3614582c4ca.QzOwhohezPDEejBi8xQGB7IH9iWQ9XnyuECQumdxOVrnHSGkE4MlmC+650XsG+o7dFqzzrzQ2PmB+eigWKB+8f3Mw7krrgJhh6t/v2nTsSd0SyFMFIXcQjRYadl9NQ','v1.4dbdc3614582c4ca.LYrHDLRxeT7qythwBFISU9zIPN7vrLoNLkMRELws7yq/2mM31Ikg94mZ',NULL,NULL,NULL,1795945215564,1795945215564,NULL);
INSERT INTO subscriptions VALUES('01a226ad-3650-7425-9c8a-7b05b5817041','DA9SvzUoBihy1GGs/EzMes3UNzRyS19tdUp23CKhR2M=','http://127.0.0.1:18965/odd-braces/%7Btenant%7D','["odd.x"]','[]','AND',NULL,'v1.4dbdc3614582c4ca.gO/YGHciCCiifS3uwhk3IpSjyCLZGx+knAWO+qGAHujTqUzVbHUsYGd+vmgQYA4aqTrRFUY10NsWE4lR1gTSE3ZxxTSmIPa+JEuowUeQ+mxKTg4h/PPcwY6M5a8Z3Q','v1.4dbdc3614582c4ca.txUvUVt/ipZIw6oQNUbVqXfAdLdx3dsLYdBNyncUXZ2SB7ZEbhR+XfDm',NULL,NULL,NULL,1795945215568,1795945215568,NULL);
INSERT INTO subscriptions VALUES('01a226ad-365d-75f4-b575-ff1b550821b4','bTTdlyCMj/FWsHHdHWSXbFoqejDv2xfY/Kx4MvdFl18=','http://127.0.0.1:18965/odd-fragment','["odd.x"]','[]','AND',NULL,'v1.4dbdc3614582c4ca.FAWydXuw58fGnauF9eEqiD+FKKz95SNFQu5C25qclNrIWPUfw/wRTcHe0Q0hodo0GFK/peWdbUUutAR2ypswXUE/L8FADug8vpjlPpiOBsgPWasNaCLBWJZWiHudAQ','v1.4dbdc3614582c4ca.Nu2kv7zUFluy1lx/GTXBEA7IGI2VjNEMpOTMpkNjs1OiPlhYzd5du6jx',NULL,NULL,NULL,1795945215581,1795945215581,NULL);
INSERT INTO subscriptions VALUES('01a226ad-3663-77cf-a214-ca835929f9d5','W2RKiOINlJURoS1XyFToSgO7hGNRSirJfKCl9mAyuRA=','http://127.0.0.1:18965/odd-topics','["odd..x","odd.x "]','[]','AND',NULL,'v1.4dbdc3614582c4ca.ukkIk/oULpb6/p7qv5/K2t7Tl5bZew1w0uI+HADdqap/D2tCBi+9Dy8fPLBKWX0xKPGfoSxzofWIJcIaK4lNWjFCuWeUgEvVN0GYd918DZxKz9iWRvE8w6V1yr9WvA','v1.4dbdc3614582c4ca.B0K1TbGGyoOoASbjN68RiR0TIHLGmQIZlXkLtmeS2AkZnnrab23vVi0Q',NULL,NULL,NULL,1795945215587,1795945215587,NULL);
INSERT INTO subscriptions VALUES('01a226ad-3668-777c-b02a-afc30608d896','74GchzE1/YoFMJ/G8grElDzzfjZvgvAP5uSS1Mnkl7I=','http://127.0.0.1:18965/odd-filter','["odd.x"]','[{"comparison":"ne","fieldName":"$.status","fieldValue":"CUR","state":"newState"}]','AND',NULL,'v1.4dbdc3614582c4ca.55eCKXj57RSF6D4ZguwRoTvHaAFBI3YEY0g5o9lP0yrggRVlkFNoqG7NceqndbccLlYf3q7eiAw4S9wCfV82PQzVJEwwatNx5jYaard3N+tQCs8KzRrxR2ya6u9TzA','v1.4dbdc3614582c4ca.gUeNeKzqxgY1vHGS1ISL/uys9+KCt8CUu0z2huORhW83eUuuxZIN5GO7',NULL,NULL,NULL,1795945215592,1795945215592,NULL);
INSERT INTO subscriptions VALUES('01a226ad-3672-7772-905b-1d4636a80b57','Cve+AqQvKvyteqrrg8hLfBlnhDLb/U5I9yG287FppCk=','http://127.0.0.1:18965/odd-headers','["odd.x"]','[]','AND',NULL,'v1.4dbdc3614582c4ca.dqvflh+MmOxBJM4cNRYNx4ZSr3eHYN7BofJePzVzJy0eRXsQSwwdCo8tJEjDdZU13MuzPhGj6/Z1gHv6Vnz/vFnkU11/jW2iNvIm9EjHg8X+S6Y9KKVx0iMDUE19Kw','v1.4dbdc3614582c4ca.L6f4zfTq0cOL3wy1nGbmxNwDmtgWSB39LC4tHUBeWSxQANpyGunTJbNV2Q8FxQRoOtgDh3IYb1CJDTwKEBkNXOoW9owH3UjW8uQUifYAXZYzuF2jvI7tygePaaRneMuA8wDB6uacwVMXMSvoMjj5PiXZFgXTq3OXVv5zoTS9J986grFtU0KzobfGRcthYWP+QHggzxmxC7hl',NULL,NULL,NULL,1795945215602,1795945215602,NULL);
INSERT INTO subscriptions VALUES('01a226ad-3676-7715-b8f4-fb5d5451db3e','5xurJNx9rr63u7DXRK8auQefcX1cZUJu42AbtbAYGxM=','http://127.0.0.1:18965/odd-long?name=%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5%E6%97%A5','["long.x"]','[]','AND',NULL,'v1.4dbdc3614582c4ca.ooAaAMN8Eya1yRSa7uOwuv4R5z23PG8ThGTIRtwkyq2gvouDvquZ9mPDPh8W+UyPmOM9SVV4rx6KUnW73qIU6On5u9FYNVmT2WGjfhE5ts8+piBZcXyX0K06cpbg5g','v1.4dbdc3614582c4ca.SNDqccvs2cSXaV0GMw1sMuUw/ruLNqnYe0gyB5f+uGfhZOHI14onyNXS',NULL,NULL,NULL,1795945215606,1795945215606,NULL);
INSERT INTO subscriptions VALUES('01a226ad-367e-73e4-b4f2-cfe23b8bfff7','h0gaiy4UXZ2P9DD2ydzQL/MrLEDW+4F7hSelsXxFEc4=','http://127.0.0.1:18965/rotated','["rotated.x"]','[]','AND',NULL,'v1.4dbdc3614582c4ca.nnaTRLdNhqy4dc2eWFRzghRiqc4MDzXGBDAYxdpGx5dwiZ21no1voea9UJbMq1q5BtZF5EZesBisGXJbm/2x/zRnXbpX4M0ZZuC2ZhAWFLC/S+u+L5+U7U+x0Ag3RlOt1FCGZxJk6CzLwfjvV9Fch7yfrIInUyKT0awQf5Xev38i6K9jxxLtz2F8fgKzKDD0D6eaTMlPq0m6AhikMCv1XBSIji9Ot4vaRBaZK1zNxLZmZwlHPodvo5E','v1.4dbdc3614582c4ca.5x1xRcGfIHk0Y5NDQCfWBuic2hoROSRI+oMWwD6l2cgArlV8OaVDP+s/',NULL,NULL,NULL,1795945215614,1795945215620,NULL);
INSERT INTO subscriptions VALUES('01a226ad-368c-7049-b68b-480168b3e38c','8qWol43ZaQzt7rEUsBK3DDOIfX5XvQXmovQbv39upXk=','http://127.0.0.1:18965/wf','["TASK.UPDATE"]','[]','AND','v1.4dbdc3614582c4ca.qMgx32vt1zPaRuXWR1axZGOjhv+ZYzxJ+Be6PQjRT5MoUDrP70OtAxKHQX1+FFYH','v1.4dbdc3614582c4ca.7qU61RCdzv8VIKV/0Up/tJ63Ls3elWbhSEu3S2krd+2rVBw6OoDp5oeP','v1.4dbdc3614582c4ca.JzpHEIffxhGTPs8k5cpWWCVz1WYA0jiJw1Ib50H2f8wvy6ERIihU/Hi4',NULL,NULL,NULL,1795945215628,1795945215628,'{"base64_encoding":false,"obj_id":"5e4a1b","version":"v2"}');
CREATE TABLE versions (
    name TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT;
INSERT INTO versions VALUES('subscriptions',18);
INSERT INTO versions VALUES('circuits',6);
CREATE TABLE queues (
    name TEXT NOT NULL PRIMARY KEY,
    first_declared_ms INTEGER NOT NULL
) STRICT;
INSERT INTO queues VALUES('homing.v1.wait.1000',1795945215116);
INSERT INTO queues VALUES('homing.v1.wait.1500',1795945215116);
INSERT INTO queues VALUES('homing.v1.wait.2000',1795945215116);
INSERT INTO queues VALUES('homing.v1.wait.3000',1795945215116);
INSERT INTO queues VALUES('homing.v1.wait.4000',1795945215116);
INSERT INTO queues VALUES('homing.v1.wait.16000',1795945215116);
INSERT INTO queues VALUES('homing.v1.wait.64000',1795945215116);
INSERT INTO queues VALUES('homing.v1.wait.600000',1795945215116);
CREATE TABLE circuits (
    -- The normalised URL: ASCII, so that every row can be named.
    url TEXT NOT NULL PRIMARY KEY CHECK (url GLOB 'http*://*' AND url NOT GLOB '*[^ -~]*'),
    state TEXT NOT NULL CHECK (state IN ('closed', 'open', 'frozen')),
    probe_at_ms INTEGER CHECK ((probe_at_ms IS NOT NULL) = (state = 'open')),
    since_ms INTEGER NOT NULL,
    -- Why it is in this state, in JSON.
    reason TEXT,
    window_attempts INTEGER NOT NULL CHECK (window_attempts >= 0),
    window_failures INTEGER NOT NULL CHECK (window_failures BETWEEN 0 AND window_attempts),
    failures_in_a_row INTEGER NOT NULL CHECK (failures_in_a_row >= 0),
    successes INTEGER NOT NULL CHECK (successes >= 0),
    failures INTEGER NOT NULL CHECK (failures >= 0),
    first_attempt_ms INTEGER,
    last_success_ms INTEGER,
    last_outcome TEXT,
    last_outcome_ms INTEGER CHECK ((last_outcome_ms IS NULL) = (last_outcome IS NULL)),
    created_ms INTEGER NOT NULL,
    -- When it was last written, for whatever reason.
    touched_ms INTEGER NOT NULL
) STRICT;
INSERT INTO circuits VALUES('http://127.0.0.1:18965/gone','frozen',NULL,1795945217105,'{"reason":"gone"}',0,0,0,0,1,1795945217104,NULL,'refused 410',1795945217104,1795945217104,1795945217104);
INSERT INTO circuits VALUES('http://127.0.0.1:18965/down','open',1795945817998,1795945217998,'{"reason":"failures_in_a_row","failures":6}',6,6,6,0,6,1795945217827,NULL,'refused 503',1795945217914,1795945217828,1795945217998);
INSERT INTO circuits VALUES('http://127.0.0.1:18965/off','frozen',NULL,1795945217986,'{"reason":"disabled"}',0,0,0,0,0,NULL,NULL,NULL,NULL,1795945217985,1795945217985);
INSERT INTO circuits VALUES('http://127.0.0.1:18965/never','closed',NULL,1795945218216,NULL,3,3,3,0,3,1795945218215,NULL,'refused 400',1795945241011,1795945218216,1795945241015);
INSERT INTO circuits VALUES('http://127.0.0.1:18965/fail','open',1795945841051,1795945241051,'{"reason":"failures_in_a_row","failures":6}',6,6,6,0,6,1795945219327,NULL,'refused 500',1795945241023,1795945219335,1795945241051);
INSERT INTO circuits VALUES('http://127.0.0.1:18965/limited','closed',NULL,1795945221938,NULL,11,0,0,11,0,1795945216801,1795945238149,'accepted 200',1795945238149,1795945221938,1795945238326);
INSERT INTO circuits VALUES('http://127.0.0.1:18965/ok','closed',NULL,1795945224400,NULL,7,0,0,7,0,1795945219316,1795945239239,'accepted 200',1795945239239,1795945224400,1795945239516);
INSERT INTO circuits VALUES('http://127.0.0.1:18965/filter','closed',NULL,1795945224400,NULL,7,0,0,7,0,1795945219347,1795945239241,'accepted 200',1795945239241,1795945224400,1795945239516);
INSERT INTO circuits VALUES('http://127.0.0.1:18965/twice','closed',NULL,1795945238550,NULL,1,1,1,0,1,1795945238550,NULL,'refused 429',1795945238550,1795945238550,1795945238550);
INSERT INTO circuits VALUES('http://127.0.0.1:18965/rotated','closed',NULL,1795945243757,'{"reason":"enabled"}',0,0,0,0,0,NULL,NULL,NULL,NULL,1795945243638,1795945243757);
CREATE TABLE encryption_keys (
    id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 16 AND id NOT GLOB '*[^0-9a-f]*'),
    first_used_ms INTEGER NOT NULL
) STRICT;
INSERT INTO encryption_keys VALUES('4dbdc3614582c4ca',1795945215101);
CREATE TABLE api_tokens (
    name TEXT NOT NULL PRIMARY KEY,
    -- SHA-256 of the token in base64; the token itself is kept nowhere.
    digest TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL CHECK (scope IN ('read', 'write')),
    created_ms INTEGER NOT NULL
) STRICT;
INSERT INTO api_tokens VALUES('reader','N1PLOQ5VnIxDGoQno2W847ffFR9ANxsFT9GhCecP5mk=','read',1795945219393);
CREATE TABLE attempts (
    -- A UUIDv7 of the instant at which it began: ids sort by time, and a row that is written twice is kept once.
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    event TEXT NOT NULL,
    topic TEXT NOT NULL,
    subscription BLOB CHECK (length(subscription) = 16),
    delivery BLOB CHECK (length(delivery) = 16 AND (delivery IS NULL) = (subscription IS NULL)),
    url TEXT,
    step INTEGER NOT NULL,
    replays INTEGER NOT NULL,
    class TEXT NOT NULL CHECK (class IN ('accepted', 'refused', 'timed_out', 'unreachable', 'not_attempted')),
    attempt INTEGER CHECK ((attempt IS NULL) = (class = 'not_attempted')),
    duration_ms INTEGER CHECK ((duration_ms IS NULL) = (attempt IS NULL)),
    outcome TEXT CHECK ((outcome IS NULL) = (attempt IS NULL)),
    status INTEGER,
    -- The beginning of the response's body, and whether there was more.
    response BLOB,
    cut INTEGER NOT NULL CHECK (cut IN (0, 1)),
    -- Why there was no attempt, or no complete answer.
    cause TEXT,
    sequel TEXT NOT NULL CHECK (sequel IN ('delivered', 'waits', 'parked')),
    due_ms INTEGER CHECK ((due_ms IS NOT NULL) = (sequel = 'waits')),
    reason TEXT CHECK ((reason IS NOT NULL) = (sequel = 'parked'))
) STRICT;
INSERT INTO attempts VALUES(X'01a226ad3b1d722d8dcb4837e9b33412','limited-0','lim.x',X'01a226ad364870d09d511d50f9974910',X'7673460133295fd894a40ca3f759cce2','http://127.0.0.1:18965/limited',0,0,'accepted',1,4,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad3c4e72f99f50409c141c635d','gone-1','gone.x',X'01a226ad363e762b940268817931d98b',X'8aff349a77ed5eefa07ba36bfd97526f','http://127.0.0.1:18965/gone',0,0,'refused',1,1,'refused 410',410,X'6f6b',0,NULL,'parked',NULL,'gone');
INSERT INTO attempts VALUES(X'01a226ad3f0572caa00eec293db3a8f7','limited-1','lim.x',X'01a226ad364870d09d511d50f9974910',X'8aad74e0eb36532b98d2c149de5edfdd','http://127.0.0.1:18965/limited',0,0,'accepted',1,1,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad3f1371fa8475dc22b50f69af','gone-2','gone.x',X'01a226ad363e762b940268817931d98b',X'1ec98d78c1255f11b7ea50ff59a63b82','http://127.0.0.1:18965/gone',0,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is frozen','parked',NULL,'frozen');
INSERT INTO attempts VALUES(X'01a226ad3f207e63975fdcd052f0098a','down-1','down.x',X'01a226ad364173ee89522a333dd1f546',X'42328ec9fdb15dd68744b3e70748dd6c','http://127.0.0.1:18965/down',0,0,'refused',1,2,'refused 503',503,X'6f6b',0,NULL,'waits',1795945219327,NULL);
INSERT INTO attempts VALUES(X'01a226ad3f347b1e8080117f42db2405','down-3','down.x',X'01a226ad364173ee89522a333dd1f546',X'6dbbccbade4453b38d30b02a0e780113','http://127.0.0.1:18965/down',0,0,'refused',1,2,'refused 503',503,X'6f6b',0,NULL,'waits',1795945219347,NULL);
INSERT INTO attempts VALUES(X'01a226ad3f1a7c07ac6366b75eef11f4','down-0','down.x',X'01a226ad364173ee89522a333dd1f546',X'53f8d35ab41c51a19e416aae9a24a821','http://127.0.0.1:18965/down',0,0,'refused',1,47,'refused 503',503,X'6f6b',0,NULL,'waits',1795945219366,NULL);
INSERT INTO attempts VALUES(X'01a226ad3f2b7dbcbd97242df71a71f1','down-2','down.x',X'01a226ad364173ee89522a333dd1f546',X'b8537faccddf5896b577be44c1a21714','http://127.0.0.1:18965/down',0,0,'refused',1,41,'refused 503',503,X'6f6b',0,NULL,'waits',1795945219377,NULL);
INSERT INTO attempts VALUES(X'01a226ad3f3b7290b83639eae4e16c85','down-4','down.x',X'01a226ad364173ee89522a333dd1f546',X'9fecd1b20cb7524d98a3dfa09a3174de','http://127.0.0.1:18965/down',0,0,'refused',1,46,'refused 503',503,X'6f6b',0,NULL,'waits',1795945219398,NULL);
INSERT INTO attempts VALUES(X'01a226ad3f497615aed663874a5e8d7f','down-5','down.x',X'01a226ad364173ee89522a333dd1f546',X'da2756c347505e7d8052736a7f4b5a29','http://127.0.0.1:18965/down',0,0,'refused',1,48,'refused 503',503,X'6f6b',0,NULL,'waits',1795945219414,NULL);
INSERT INTO attempts VALUES(X'01a226ad409571e7938d9ef0cf7e49d5','off-1','off.x',X'01a226ad3644712b99891c7f1c1132eb',X'b04b76a48cad563489aeacf94ca7780e','http://127.0.0.1:18965/off',0,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is frozen','parked',NULL,'frozen');
INSERT INTO attempts VALUES(X'01a226ad40a674a898a782b63ca394b6','never-1','never.x',X'01a226ad363770c49d0399c7c813b24a',X'dd602507cc725a4e8fa5a213666704fd','http://127.0.0.1:18965/never',0,0,'refused',1,0,'refused 400',400,X'6f6b',0,NULL,'waits',1795945220215,NULL);
INSERT INTO attempts VALUES(X'01a226ad42ed75cdb7f9b5ec6d9d2c8c','limited-2','lim.x',X'01a226ad364870d09d511d50f9974910',X'642e6d274d455e93b3a0a823daccfa30','http://127.0.0.1:18965/limited',0,0,'accepted',1,1,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad44ae73a08dd6d8fe37ce26e5','held-1','down.x',X'01a226ad364173ee89522a333dd1f546',X'10bf48ad518e59cab7bad399ed3b7327','http://127.0.0.1:18965/down',0,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is open','waits',1795945220746,NULL);
INSERT INTO attempts VALUES(X'01a226ad44bb703ea93d718bb0248e1a','large','order.refund',NULL,NULL,NULL,0,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'it is larger than `worker.event_bytes_max`','parked',NULL,'too_large');
INSERT INTO attempts VALUES(X'01a226ad44ea7528b54a928b7f41ec13','paid-0','order.paid',X'01a226ad362674e08ac28b1c75bf576d',X'b25f5e6815ee5230b76e7640f8583d2f','http://127.0.0.1:18965/ok',0,0,'accepted',1,6,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad44f17078a54850df8dd0e53f','paid-0','order.paid',X'01a226ad362c7782aea57d7685580548',X'781a57ea0fde59efaa4923196b21c027','http://127.0.0.1:18965/fail',0,0,'refused',1,13,'refused 500',500,X'6f6b',0,NULL,'waits',1795945220827,NULL);
INSERT INTO attempts VALUES(X'01a226ad450a78318c0a9261763b2763','down-1','down.x',X'01a226ad364173ee89522a333dd1f546',X'42328ec9fdb15dd68744b3e70748dd6c','http://127.0.0.1:18965/down',1,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is open','waits',1795945222338,NULL);
INSERT INTO attempts VALUES(X'01a226ad45127696974154fa370991fb','30213c19-9b96-5265-bfbb-4c9096f5b4a1','order.http',X'01a226ad3633732aa940398f8610acac',X'fb1a9226f4b95a2685a373ad501e8952','http://127.0.0.1:18965/filter',0,0,'accepted',1,0,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad45207d739b84982fd8a455e2','down-3','down.x',X'01a226ad364173ee89522a333dd1f546',X'6dbbccbade4453b38d30b02a0e780113','http://127.0.0.1:18965/down',1,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is open','waits',1795945222360,NULL);
INSERT INTO attempts VALUES(X'01a226ad44f17df6b6ea98e632082fca','paid-0','order.paid',X'01a226ad3633732aa940398f8610acac',X'4bfa9d5abb705dd79106bc2043958790','http://127.0.0.1:18965/filter',0,0,'accepted',1,60,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad45337ee1a2bb718cbdac2bf5','down-0','down.x',X'01a226ad364173ee89522a333dd1f546',X'53f8d35ab41c51a19e416aae9a24a821','http://127.0.0.1:18965/down',1,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is open','waits',1795945222379,NULL);
INSERT INTO attempts VALUES(X'01a226ad453972438d80262e81445867','down-2','down.x',X'01a226ad364173ee89522a333dd1f546',X'b8537faccddf5896b577be44c1a21714','http://127.0.0.1:18965/down',1,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is open','waits',1795945222385,NULL);
INSERT INTO attempts VALUES(X'01a226ad45117230b07b64d0b6e5e9c0','30213c19-9b96-5265-bfbb-4c9096f5b4a1','order.http',X'01a226ad362674e08ac28b1c75bf576d',X'8426977bce7958f1a9c9e631ac7bc46e','http://127.0.0.1:18965/ok',0,0,'accepted',1,43,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad45587ce2b25ef977fbb828fe','down-4','down.x',X'01a226ad364173ee89522a333dd1f546',X'9fecd1b20cb7524d98a3dfa09a3174de','http://127.0.0.1:18965/down',1,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is open','waits',1795945222416,NULL);
INSERT INTO attempts VALUES(X'01a226ad456d7ab8ab62621768924b7b','down-5','down.x',X'01a226ad364173ee89522a333dd1f546',X'da2756c347505e7d8052736a7f4b5a29','http://127.0.0.1:18965/down',1,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is open','waits',1795945222437,NULL);
INSERT INTO attempts VALUES(X'01a226ad457a7f3cb27023584e78a7e7','refund-0','order.refund',X'01a226ad362674e08ac28b1c75bf576d',X'0f37acd9432a5203a9594cbebe23ec66','http://127.0.0.1:18965/ok',0,0,'accepted',1,1,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad457b7a50af2af0fb1112908d','refund-0','order.refund',X'01a226ad3633732aa940398f8610acac',X'12bff36fc3e85311a4780a2a9996a511','http://127.0.0.1:18965/filter',0,0,'accepted',1,1,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad46d876ff949257ad34c1c185','limited-4','lim.x',X'01a226ad364870d09d511d50f9974910',X'e20aabcd90de5e93be203a92948b7e3d','http://127.0.0.1:18965/limited',0,0,'accepted',1,4,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad47747d3e843992ef00747531','refund-1','order.refund',X'01a226ad362674e08ac28b1c75bf576d',X'9ac53317c77f5aec913b7cd967432766','http://127.0.0.1:18965/ok',0,0,'accepted',1,1,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad477576f79ad825f83fda3245','refund-1','order.refund',X'01a226ad3633732aa940398f8610acac',X'39d85818a1395edb8320fdf185b7e4c2','http://127.0.0.1:18965/filter',0,0,'accepted',1,1,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad487e7df8891a7185f4424d0f','never-1','never.x',X'01a226ad363770c49d0399c7c813b24a',X'dd602507cc725a4e8fa5a213666704fd','http://127.0.0.1:18965/never',1,0,'refused',2,1,'refused 400',400,X'6f6b',0,NULL,'parked',NULL,'exhausted');
INSERT INTO attempts VALUES(X'01a226ad49717f40951b0a5b90f6abb5','refund-2','order.refund',X'01a226ad362674e08ac28b1c75bf576d',X'ea5959d760235159a2d629193af8bc2d','http://127.0.0.1:18965/ok',0,0,'accepted',1,1,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad497279d38567342be44dcac5','refund-2','order.refund',X'01a226ad3633732aa940398f8610acac',X'2458f66be3ed5a41af8bb81edc5061a5','http://127.0.0.1:18965/filter',0,0,'accepted',1,0,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad4a927dffa8ea4273500cbc72','held-1','down.x',X'01a226ad364173ee89522a333dd1f546',X'10bf48ad518e59cab7bad399ed3b7327','http://127.0.0.1:18965/down',1,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is open','waits',1795945223754,NULL);
INSERT INTO attempts VALUES(X'01a226ad4ac179fca523ff3e12ad11bd','limited-6','lim.x',X'01a226ad364870d09d511d50f9974910',X'f5a4ae998e445d6fb654710b9c16ffaa','http://127.0.0.1:18965/limited',0,0,'accepted',1,1,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad4ae972d4aec84e1957f1bfe6','paid-0','order.paid',X'01a226ad362c7782aea57d7685580548',X'781a57ea0fde59efaa4923196b21c027','http://127.0.0.1:18965/fail',1,0,'refused',2,1,'refused 500',500,X'6f6b',0,NULL,'waits',1795945223843,NULL);
INSERT INTO attempts VALUES(X'01a226ad4b7073d38af604dbfb2ec60a','refund-3','order.refund',X'01a226ad3633732aa940398f8610acac',X'd3c88ecb67155862bc8eb5e72d53d368','http://127.0.0.1:18965/filter',0,0,'accepted',1,1,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad4b70747bad30236ea00ff2f1','refund-3','order.refund',X'01a226ad362674e08ac28b1c75bf576d',X'877f8f4edf1b56d48b0ce34a3ad8441f','http://127.0.0.1:18965/ok',0,0,'accepted',1,1,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad4ea972d59ae0a831eafab667','limited-3','lim.x',X'01a226ad364870d09d511d50f9974910',X'540a0c472eca5fd38277633bc0219f78','http://127.0.0.1:18965/limited',0,0,'accepted',1,3,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad50cc7259af5964089b8fba77','down-1','down.x',X'01a226ad364173ee89522a333dd1f546',X'42328ec9fdb15dd68744b3e70748dd6c','http://127.0.0.1:18965/down',2,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is open','waits',1795945822348,NULL);
INSERT INTO attempts VALUES(X'01a226ad50e77b2498b00617237cf38f','down-3','down.x',X'01a226ad364173ee89522a333dd1f546',X'6dbbccbade4453b38d30b02a0e780113','http://127.0.0.1:18965/down',2,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is open','waits',1795945822375,NULL);
INSERT INTO attempts VALUES(X'01a226ad50f17cd499948e656e06d1ae','down-0','down.x',X'01a226ad364173ee89522a333dd1f546',X'53f8d35ab41c51a19e416aae9a24a821','http://127.0.0.1:18965/down',2,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is open','waits',1795945822385,NULL);
INSERT INTO attempts VALUES(X'01a226ad50ff79f396942edf7fed5d1b','down-2','down.x',X'01a226ad364173ee89522a333dd1f546',X'b8537faccddf5896b577be44c1a21714','http://127.0.0.1:18965/down',2,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is open','waits',1795945822399,NULL);
INSERT INTO attempts VALUES(X'01a226ad511a7306a1422a6e10c30b8a','down-4','down.x',X'01a226ad364173ee89522a333dd1f546',X'9fecd1b20cb7524d98a3dfa09a3174de','http://127.0.0.1:18965/down',2,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is open','waits',1795945822426,NULL);
INSERT INTO attempts VALUES(X'01a226ad512e749198a303e7e21b7ccf','down-5','down.x',X'01a226ad364173ee89522a333dd1f546',X'da2756c347505e7d8052736a7f4b5a29','http://127.0.0.1:18965/down',2,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is open','waits',1795945822446,NULL);
INSERT INTO attempts VALUES(X'01a226ad529179f6a7eba255aaaa4207','limited-10','lim.x',X'01a226ad364870d09d511d50f9974910',X'04d3af855bec5526aff6d77a67782890','http://127.0.0.1:18965/limited',0,0,'accepted',1,1,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad5658764fbf382283c409aa6b','held-1','down.x',X'01a226ad364173ee89522a333dd1f546',X'10bf48ad518e59cab7bad399ed3b7327','http://127.0.0.1:18965/down',2,0,'not_attempted',NULL,NULL,NULL,NULL,NULL,0,'the circuit of its URL is open','waits',1795945823768,NULL);
INSERT INTO attempts VALUES(X'01a226ad567d75a68e0d94ccd865b81b','limited-8','lim.x',X'01a226ad364870d09d511d50f9974910',X'9322e01b7b905284a2b87797a7e1a1f2','http://127.0.0.1:18965/limited',0,0,'accepted',1,2,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad56ad7ca481174cddce4717e5','paid-0','order.paid',X'01a226ad362c7782aea57d7685580548',X'781a57ea0fde59efaa4923196b21c027','http://127.0.0.1:18965/fail',2,0,'refused',3,1,'refused 500',500,X'6f6b',0,NULL,'waits',1795945823854,NULL);
INSERT INTO attempts VALUES(X'01a226ad5a657cfc928cdd5a8b6b891a','limited-12','lim.x',X'01a226ad364870d09d511d50f9974910',X'1747e9aacd315ba0959ce91e053b2c11','http://127.0.0.1:18965/limited',0,0,'accepted',1,3,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad5e4d76be966cbee09f4ebfbe','limited-17','lim.x',X'01a226ad364870d09d511d50f9974910',X'e9f2cafd2dae5cfaa6f751555ce595e6','http://127.0.0.1:18965/limited',0,0,'accepted',1,1,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad8e697dbb8b33fb72a2d0bb01','limited-5','lim.x',X'01a226ad364870d09d511d50f9974910',X'da6694d6e8be5793b250b94eb70fdd61','http://127.0.0.1:18965/limited',0,0,'accepted',1,28,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad90137452aa3074b287b91513','twice-1','twice.x',X'01a226ad364c715d89087fa7422325b1',X'18db6342f20c592eaa5ca18e3e3b18b6','http://127.0.0.1:18965/twice',0,0,'refused',1,2,'refused 429',429,X'6f6b',0,NULL,'waits',1795945838550,NULL);
INSERT INTO attempts VALUES(X'01a226ad925771cbbaa0c85c1272ccb6','limited-19','lim.x',X'01a226ad364870d09d511d50f9974910',X'f061f6e3a46a5d5d9e9da8d5beeeb986','http://127.0.0.1:18965/limited',0,0,'accepted',1,1,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad92c2708584fcb7743e6891a3','paid-1','order.paid',X'01a226ad362c7782aea57d7685580548',X'83f97b6aa21c5dda88af87b943bd07c8','http://127.0.0.1:18965/fail',0,0,'refused',1,3,'refused 500',500,X'6f6b',0,NULL,'waits',1795945240738,NULL);
INSERT INTO attempts VALUES(X'01a226ad92c27283ad468ae0c93c8ffa','paid-1','order.paid',X'01a226ad362674e08ac28b1c75bf576d',X'5d1f95fd3f775ca29f2e1ea1e49d1bc0','http://127.0.0.1:18965/ok',0,0,'accepted',1,5,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad92c17d3c996c67052db5a23e','paid-1','order.paid',X'01a226ad3633732aa940398f8610acac',X'ae977f0d7c2956a2baa68014300acb08','http://127.0.0.1:18965/filter',0,0,'accepted',1,7,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad963f740a82c1c1f0875946c3','limited-late-0','lim.x',X'01a226ad364870d09d511d50f9974910',X'5d8f6df34cd05fd79c72ae7403302b03','http://127.0.0.1:18965/limited',0,0,'accepted',1,1,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad98ac79469956a1d767e8be04','paid-1','order.paid',X'01a226ad362c7782aea57d7685580548',X'83f97b6aa21c5dda88af87b943bd07c8','http://127.0.0.1:18965/fail',1,0,'refused',2,1,'refused 500',500,X'6f6b',0,NULL,'waits',1795945243750,NULL);
INSERT INTO attempts VALUES(X'01a226ad99a87eea861d3b10a117a9c8','never-2','never.x',X'01a226ad363770c49d0399c7c813b24a',X'c144b8272f3454e0ac8448fec345e32a','http://127.0.0.1:18965/never',0,0,'refused',1,8,'refused 400',400,X'6f6b',0,NULL,'waits',1795945243011,NULL);
INSERT INTO attempts VALUES(X'01a226ad99b97f37b66be9a94a6d07fb','paid-2','order.paid',X'01a226ad362674e08ac28b1c75bf576d',X'90e68dfb2f885d649fb92bdf8467d437','http://127.0.0.1:18965/ok',0,0,'accepted',1,5,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad99b97c54ab9f618928fda424','paid-2','order.paid',X'01a226ad362c7782aea57d7685580548',X'12e1f1c7f64f533ca48dc3771e2389f3','http://127.0.0.1:18965/fail',0,0,'refused',1,5,'refused 500',500,X'6f6b',0,NULL,'waits',1795945242523,NULL);
INSERT INTO attempts VALUES(X'01a226ad99b879f285761b72338a6b61','paid-2','order.paid',X'01a226ad3633732aa940398f8610acac',X'ad1928647b9c5faa8d16de3fc2d23763','http://127.0.0.1:18965/filter',0,0,'accepted',1,44,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
INSERT INTO attempts VALUES(X'01a226ad9a2779ddbc1a85af6be6078f','limited-18','lim.x',X'01a226ad364870d09d511d50f9974910',X'0682c8b9efda5e87b59b3aab6e3b0991','http://127.0.0.1:18965/limited',0,0,'accepted',1,1,'accepted 200',200,X'6f6b',0,NULL,'delivered',NULL,NULL);
CREATE TABLE attempt_gaps (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    from_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL CHECK (until_ms >= from_ms),
    missed INTEGER NOT NULL CHECK (missed > 0)
) STRICT;
INSERT INTO attempt_gaps VALUES(X'01a226a96aca775fa3edbea5212c32e4',1795945236515,1795945237515,3);
CREATE TABLE attempt_rows (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    count INTEGER NOT NULL CHECK (count >= 0)
) STRICT;
INSERT INTO attempt_rows VALUES(1,65);
CREATE TABLE sources (
    name TEXT NOT NULL PRIMARY KEY,
    standing TEXT NOT NULL CHECK (standing IN ('running', 'paused', 'stopped')),
    since_ms INTEGER NOT NULL,
    -- What the service answered, and the fingerprint of the settings that it was asked with.
    reason TEXT CHECK ((reason IS NOT NULL) = (standing = 'stopped')),
    fingerprint TEXT CHECK ((fingerprint IS NOT NULL) = (standing = 'stopped')),
    -- What the next connect asks for.
    reset TEXT CHECK (reset IN ('smallest', 'largest'))
) STRICT;
INSERT INTO sources VALUES('main','paused',1795945216659,NULL,NULL,NULL);
CREATE TABLE source_slots (
    source TEXT NOT NULL,
    slot INTEGER NOT NULL CHECK (slot BETWEEN 1 AND 255),
    holder TEXT NOT NULL,
    phase TEXT NOT NULL CHECK (phase IN ('free', 'waiting', 'connecting', 'connected')),
    since_ms INTEGER NOT NULL,
    not_before_ms INTEGER,
    detail TEXT,
    records INTEGER NOT NULL CHECK (records >= 0),
    seen_ms INTEGER NOT NULL,
    PRIMARY KEY (source, slot)
) STRICT;
INSERT INTO source_slots VALUES('main',1,'vm, process 32235','free',1795945216735,1795945218835,NULL,0,1795945216735);
CREATE TABLE workers (
    -- A UUID made at its start.
    id TEXT NOT NULL PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL,
    in_flight INTEGER NOT NULL CHECK (in_flight >= 0)
, requests TEXT NOT NULL DEFAULT '{"by_url":{},"whole":false}') STRICT, WITHOUT ROWID;
INSERT INTO workers VALUES('01a226ad-3485-77f3-8224-b52c89023211','vm',32235,'0.1.0',1795945215109,1795945240417,4,'{"by_url":{"http://127.0.0.1:18965/limited":4},"whole":true}');
CREATE TABLE worker_minutes (
    start_ms INTEGER NOT NULL,
    worker TEXT NOT NULL,
    events INTEGER NOT NULL CHECK (events >= 0),
    accepted INTEGER NOT NULL CHECK (accepted >= 0),
    refused INTEGER NOT NULL CHECK (refused >= 0),
    timed_out INTEGER NOT NULL CHECK (timed_out >= 0),
    unreachable INTEGER NOT NULL CHECK (unreachable >= 0),
    held INTEGER NOT NULL CHECK (held >= 0),
    parked INTEGER NOT NULL CHECK (parked >= 0),
    PRIMARY KEY (start_ms, worker)
) STRICT, WITHOUT ROWID;
INSERT INTO worker_minutes VALUES(1795945200000,'01a226ad-3485-77f3-8224-b52c89023211',52,27,14,0,0,78,7);
CREATE TABLE dues (
    wait_ms INTEGER NOT NULL CHECK (wait_ms > 0),
    slice INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    PRIMARY KEY (wait_ms, slice)
) STRICT, WITHOUT ROWID;
INSERT INTO dues VALUES(1000,1795945217,1795945217955);
INSERT INTO dues VALUES(1000,1795945218,1795945218006);
INSERT INTO dues VALUES(1000,1795945240,1795945240235);
INSERT INTO dues VALUES(1500,1795945219,1795945219328);
INSERT INTO dues VALUES(1500,1795945220,1795945220746);
INSERT INTO dues VALUES(1500,1795945240,1795945240738);
INSERT INTO dues VALUES(2000,1795945220,1795945220216);
INSERT INTO dues VALUES(3000,1795945222,1795945222338);
INSERT INTO dues VALUES(3000,1795945223,1795945223754);
INSERT INTO dues VALUES(4000,1795945222,1795945222000);
INSERT INTO dues VALUES(4000,1795945244,1795945244351);
INSERT INTO dues VALUES(16000,1795945238,1795945238111);
INSERT INTO dues VALUES(64000,1795945302,1795945302170);
INSERT INTO dues VALUES(600000,766515502,1795945822348);
INSERT INTO dues VALUES(600000,766515503,1795945823768);
INSERT INTO dues VALUES(600000,766515509,1795945838550);
CREATE TABLE publications (
    -- SHA-256 of the key in base64.
    key TEXT NOT NULL PRIMARY KEY,
    -- SHA-256 of the request in base64.
    fingerprint TEXT NOT NULL,
    published_ms INTEGER NOT NULL
) STRICT;
INSERT INTO publications VALUES('vil0VGl443OebW2oXEvp8zTOMt8rn9S2/xtVwNV+nUQ=','f2+Ix5us5DX2ukOOhDU7BLxphbuDlUu2SqT0lEm6VPw=',1795945219345);
CREATE TRIGGER subscription_inserted AFTER INSERT ON subscriptions BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'subscriptions';
END;
CREATE TRIGGER subscription_updated AFTER UPDATE ON subscriptions BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'subscriptions';
END;
CREATE TRIGGER subscription_removed AFTER DELETE ON subscriptions BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'subscriptions';
END;
CREATE INDEX circuits_by_state ON circuits (state, url);
CREATE TRIGGER circuit_inserted AFTER INSERT ON circuits WHEN NEW.state <> 'closed' BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'circuits';
END;
CREATE TRIGGER circuit_updated AFTER UPDATE ON circuits
WHEN OLD.state <> NEW.state OR OLD.url <> NEW.url BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'circuits';
END;
CREATE TRIGGER circuit_removed AFTER DELETE ON circuits WHEN OLD.state <> 'closed' BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'circuits';
END;
CREATE INDEX attempts_by_event ON attempts (event);
CREATE INDEX attempts_by_subscription ON attempts (subscription, id);
CREATE INDEX attempts_by_url ON attempts (url, id);
CREATE INDEX attempts_that_failed ON attempts (id, class, status) WHERE class <> 'accepted';
CREATE INDEX subscriptions_by_url ON subscriptions (url, id);
CREATE INDEX subscriptions_in_workfronts_form ON subscriptions (id) WHERE workfront IS NOT NULL;
CREATE INDEX publications_by_time ON publications (published_ms);
COMMIT;

PRAGMA application_id = 1752002151;
